"""The wire contract between the control plane and an agent: envelopes, signatures, limits, and the agent API's shapes.

Both sides import this package, and the agent runs on small machines beside games. So it holds frozen standard-library
dataclasses, read by `codec`, and the signature code of `cryptography`; pydantic would cost the agent 4 MB of private
memory for nothing it needs. The control plane wraps the same dataclasses where its routes want pydantic models.
"""
