"""A small shop: orders come in over HTTP, everything that follows from them happens on a worker.

::

    export EVENTS_BROKER_URL=embedded                      # or redis://..., amqp://... with EVENTS_REDIS_URL
    uvicorn examples.shop.web:app --host 127.0.0.1 --port 8000
    events worker -A examples.shop.system -P threads -c 8
    curl -X POST localhost:8000/orders -H 'content-type: application/json' \
         -d '{"sku": "tea", "quantity": 2, "email": "ada@example.com", "card_token": "tok_visa"}'
"""
