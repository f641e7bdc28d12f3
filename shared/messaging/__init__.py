"""What crosses between the control plane and agents: envelopes, signatures, and the contract of servers."""
