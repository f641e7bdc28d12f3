"""The house's door to the local network: other machines reach the API over TLS, and the broker as it is."""
