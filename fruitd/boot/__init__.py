"""Boot backends: which slot boots next, and how the node learns which one did."""
