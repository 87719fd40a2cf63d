"""HTTP/1.1 connections on asyncio and httptools. This package knows no route."""
