"""The service as callers see it: writes proposed, reads behind a barrier, waits, watches. It knows no HTTP."""
