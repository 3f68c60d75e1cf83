"""Questions to answers: read models, the query bus, waiting, pages."""
