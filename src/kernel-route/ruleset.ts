/**
 * The nftables table of wakeport, without elements. docs/design/kernel-route.md has the reasons of each rule; the syntax
 * is that of nft(8) 1.0.6. JSON cannot express the dnat rules: nft 1.0.6 crashes on them.
 */

export const TABLE = "wakeport";

/** In the comment of chain `about`, by which wakeport recognizes its own table. Changes with the rules. */
export const VERSION = "wakeport 2";

/** Marks of services: the base plus 1 to 65,535. */
export const MARK_BASE = 0x77700000;
export const MARK_MASK = 0xffff0000;

/** Replaces the table in one transaction, or creates it. Open flows continue: they need the marks, not the elements. */
export const ruleset = `add table inet ${TABLE}
delete table inet ${TABLE}
table inet ${TABLE} {
  map marks4 { type inet_proto . inet_service . ipv4_addr : mark; flags interval; }
  map marks6 { type inet_proto . inet_service . ipv6_addr : mark; flags interval; }
  set denied4 { type inet_proto . inet_service . ipv4_addr; flags interval; }
  set denied6 { type inet_proto . inet_service . ipv6_addr; flags interval; }
  map to4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map to6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map up { type mark : counter; }
  map down { type mark : counter; }
  map opened { type mark : counter; }
  chain about {
    return comment "${VERSION}"
  }
  chain prerouting {
    type nat hook prerouting priority dstnat - 10; policy accept;
    fib daddr type local jump route
  }
  chain route {
    tcp flags & (fin | syn | rst | ack) != syn return
    meta l4proto . th dport . ip saddr @denied4 return
    meta l4proto . th dport . ip6 saddr @denied6 return
    ct mark set meta l4proto . th dport . ip saddr map @marks4
    ct mark set meta l4proto . th dport . ip6 saddr map @marks6
    ct mark & ${MARK_MASK} != ${MARK_BASE} return
    counter name ct mark map @opened
    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @to4
    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @to6
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ct mark & ${MARK_MASK} == ${MARK_BASE} ct status dnat masquerade
  }
  chain through {
    type filter hook forward priority filter; policy drop;
    ct mark & ${MARK_MASK} != ${MARK_BASE} drop
    ct direction reply tcp flags & (syn | rst | ack) == rst | ack tcp sequence 0 drop
    ct direction original counter name ct mark map @up
    ct direction reply counter name ct mark map @down
    ct status dnat accept
  }
}
`;
