"""Rules of a place's routers in nftables' own language: translation, loss, what is let in, who gets what from outside. Pure."""

from __future__ import annotations

from simulations.testbed.layout import Line

LOSS_STEPS = 10_000
WAN, LAN = "wan", "lan"


def router_rules(line: Line) -> str:
    """For the router next to the nodes: everything but the second translation of `double`."""
    plan = line.plan
    translated = plan.nat != "none"
    counters = "\n".join(f"  counter {counter_name(host.number)} {{ }}" for host in line.hosts)
    counted = "\n".join(
        f'    iifname "{WAN}" ip daddr {host.address} counter name {counter_name(host.number)}'
        for host in line.hosts
    )
    lost = ""
    if plan.loss:
        share = round(plan.loss * LOSS_STEPS)
        lost = "\n".join(
            f'    {way} "{WAN}" numgen random mod {LOSS_STEPS} < {share} drop'
            for way in ("iifname", "oifname")
        )
    no_udp = "    meta l4proto udp drop" if plan.nat == "udp-blocked" else ""
    asked = _only_what_was_asked_for() if translated else ""
    return f"""table ip fruit {{
{counters}
  chain lost {{
    type filter hook forward priority -20; policy accept;
{lost}
  }}
  chain counted {{
    type filter hook forward priority -10; policy accept;
{counted}
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
{no_udp}
{asked}
  }}
  chain at_the_router {{
    type filter hook input priority 0; policy accept;
{_nobody_from_outside() if translated else ""}
  }}
  chain into {{
    type nat hook prerouting priority -100; policy accept;
{_forwarded(line) if plan.nat == "forwarded" else ""}
  }}
  chain out {{
    type nat hook postrouting priority 100; policy accept;
{_masquerade(plan.nat) if translated else ""}
  }}
}}
"""


def carrier_rules() -> str:
    """For the provider's translator of `double`."""
    return f"""table ip fruit {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
{_only_what_was_asked_for()}
  }}
  chain at_the_router {{
    type filter hook input priority 0; policy accept;
{_nobody_from_outside()}
  }}
  chain out {{
    type nat hook postrouting priority 100; policy accept;
{_masquerade("cone")}
  }}
}}
"""


def cut_rules(line: Line) -> str:
    """For the world: nothing passes to or from this line. Before the line, so that what is lost does not count as carried."""
    name = f"cut{line.number}"
    return f"""table ip {name} {{
  chain forward {{
    type filter hook forward priority -30; policy accept;
    iifname "{line.world_port}" drop
    oifname "{line.world_port}" drop
  }}
}}
"""


def healed_rules(line: Line) -> str:
    """For the world: the end of `cut_rules`, also where there was no cut."""
    name = f"cut{line.number}"
    return f"table ip {name} {{ }}\ndelete table ip {name}\n"


def counter_name(number: int) -> str:
    """Of the bytes that node `number` of a place gets from outside."""
    return f"node{number}"


def _only_what_was_asked_for() -> str:
    return f"""    ct state established,related accept
    iifname "{WAN}" ct status dnat accept
    iifname "{WAN}" drop"""


def _nobody_from_outside() -> str:
    """As routers for homes and offices have it. Accepted, a knock that comes first would be a flow of the router's own, and the
    knock out of the site that should meet it would get another port."""
    return f'    iifname "{WAN}" ct state new drop'


def _masquerade(nat: str) -> str:
    # Linux keeps the port where it is free, for all destinations alike; `random` draws one for each.
    how = " random,fully-random" if nat == "symmetric" else ""
    return f'    oifname "{WAN}" masquerade{how}'


def _forwarded(line: Line) -> str:
    return "\n".join(
        f'    iifname "{WAN}" {protocol} dport {{ {host.control_port}, {host.transfer_port} }} dnat to {host.address}'
        for host in line.hosts
        for protocol in ("tcp", "udp")
    )
