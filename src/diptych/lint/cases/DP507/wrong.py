import httpx

from diptych import App, DomainEvent, Metadata

app = App("sqlite:///shop.db")


class OrderPaid(DomainEvent):
    email: str


@app.reaction
async def send_receipt(event: OrderPaid, meta: Metadata, mail: httpx.AsyncClient) -> None:
    await mail.post("https://mail.example/send", json={"to": event.email, "order": str(meta.stream.id)})
