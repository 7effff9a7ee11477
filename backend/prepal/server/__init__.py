"""HTTP: what Label Studio calls, the pages and metrics. No request trains, embeds or calls Label Studio."""
