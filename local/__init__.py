"""The one-machine edition: stand-ins which speak the wire protocols of the Azure services that the product uses."""
