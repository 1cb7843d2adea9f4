from events_worker.cli import main

main()
