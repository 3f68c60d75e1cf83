"""From events to read models: projections, folded in batches or inside the append."""
