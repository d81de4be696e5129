"""Building parcels: what moved, what is like what, and packing the rest (docs/protocol/parcel.md is the format)."""
