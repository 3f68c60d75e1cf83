import httpx

from diptych import App, DomainEvent, IdempotencyKey, Metadata

app = App("sqlite:///shop.db")


class OrderPaid(DomainEvent):
    email: str


@app.reaction
async def send_receipt(event: OrderPaid, meta: Metadata, key: IdempotencyKey, mail: httpx.AsyncClient) -> None:
    body = {"to": event.email, "order": str(meta.stream.id)}
    await mail.post("https://mail.example/send", json=body, headers={"Idempotency-Key": key})
