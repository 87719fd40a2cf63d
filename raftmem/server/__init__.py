"""HTTP/1.1 connections. It knows no route."""
