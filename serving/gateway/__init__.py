"""The fusion gateway: a scan in over HTTP, a fused mask out; the models answer behind a model server."""
