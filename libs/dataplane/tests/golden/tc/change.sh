tc filter add dev eth3 egress protocol all pref 65535 chain 92274688 handle 0x1 flower action gact pass cookie 534c4345060000000000000000000000
tc filter add dev eth3 egress protocol ipv6 pref 6 chain 92274688 handle 0x1 flower action ct zone 1 pipe cookie 534c4345020000000000000000000000 action gact goto chain 92274689 cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol ip pref 5 chain 92274688 handle 0x1 flower action ct zone 1 pipe cookie 534c4345020000000000000000000000 action gact goto chain 92274689 cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol ipv6 pref 2 chain 92274688 handle 0x1 flower ip_proto icmpv6 type 133 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol ipv6 pref 2 chain 92274688 handle 0x2 flower ip_proto icmpv6 type 134 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol ipv6 pref 2 chain 92274688 handle 0x3 flower ip_proto icmpv6 type 135 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol ipv6 pref 2 chain 92274688 handle 0x4 flower ip_proto icmpv6 type 136 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol ipv6 pref 2 chain 92274688 handle 0x5 flower ip_proto icmpv6 type 137 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol arp pref 1 chain 92274688 handle 0x1 flower action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 egress protocol all pref 65535 chain 92274689 handle 0x1 flower action gact goto chain 92274690 cookie 534c4345060000000000000000000000
tc filter add dev eth3 egress protocol all pref 8 chain 92274689 handle 0x1 flower ct_state +trk+rpl action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 egress protocol all pref 7 chain 92274689 handle 0x1 flower ct_state +trk+rel ct_mark 0x1 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 egress protocol all pref 6 chain 92274689 handle 0x1 flower ct_state +trk+est+rpl ct_mark 0x1 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 egress protocol all pref 5 chain 92274689 handle 0x1 flower ct_state +trk+rel ct_mark 0x3 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 egress protocol all pref 4 chain 92274689 handle 0x1 flower ct_state +trk+est+rpl ct_mark 0x3 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 egress protocol all pref 3 chain 92274689 handle 0x1 flower ct_state +trk+rel ct_mark 0x2 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 egress protocol all pref 2 chain 92274689 handle 0x1 flower ct_state +trk+est ct_mark 0x2 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 egress protocol all pref 1 chain 92274690 handle 0x1 flower action ct commit zone 1 mark 0x2 pipe cookie 534c4345020000000000000000000000 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol all pref 65535 chain 92274688 handle 0x1 flower action gact drop cookie 534c4345060000000000000000000000
tc filter add dev eth3 ingress protocol ipv6 pref 6 chain 92274688 handle 0x1 flower action ct zone 1 pipe cookie 534c4345020000000000000000000000 action gact goto chain 92274689 cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol ip pref 5 chain 92274688 handle 0x1 flower action ct zone 1 pipe cookie 534c4345020000000000000000000000 action gact goto chain 92274689 cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol ipv6 pref 2 chain 92274688 handle 0x1 flower ip_proto icmpv6 type 133 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol ipv6 pref 2 chain 92274688 handle 0x2 flower ip_proto icmpv6 type 134 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol ipv6 pref 2 chain 92274688 handle 0x3 flower ip_proto icmpv6 type 135 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol ipv6 pref 2 chain 92274688 handle 0x4 flower ip_proto icmpv6 type 136 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol ipv6 pref 2 chain 92274688 handle 0x5 flower ip_proto icmpv6 type 137 action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol arp pref 1 chain 92274688 handle 0x1 flower action gact pass cookie 534c4345020000000000000000000000
tc filter add dev eth3 ingress protocol all pref 65535 chain 92274689 handle 0x1 flower action gact drop cookie 534c4345060000000000000000000000
tc filter add dev eth3 ingress protocol ipv6 pref 512 chain 92274689 handle 0x1 flower dst_ip fd00::2 action gact goto chain 92274690 cookie 534c4345040000000000000000000000
tc filter add dev eth3 ingress protocol ip pref 256 chain 92274689 handle 0x1 flower dst_ip 10.1.0.2 action gact goto chain 92274690 cookie 534c4345040000000000000000000000
tc filter add dev eth3 ingress protocol all pref 8 chain 92274689 handle 0x1 flower ct_state +trk+rpl action gact drop cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 7 chain 92274689 handle 0x1 flower ct_state +trk+rel ct_mark 0x1 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 6 chain 92274689 handle 0x1 flower ct_state +trk+est+rpl ct_mark 0x1 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 5 chain 92274689 handle 0x1 flower ct_state +trk+rel ct_mark 0x3 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 4 chain 92274689 handle 0x1 flower ct_state +trk+est+rpl ct_mark 0x3 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 3 chain 92274689 handle 0x1 flower ct_state +trk+rel ct_mark 0x2 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 2 chain 92274689 handle 0x1 flower ct_state +trk+est ct_mark 0x2 action gact pass cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 1 chain 92274689 handle 0x1 flower ct_state +trk+inv action gact drop cookie 534c4345030000000000000000000000
tc filter add dev eth3 ingress protocol all pref 1 chain 92274690 handle 0x1 flower action ct commit zone 1 mark 0x2 pipe cookie 534c4345020000000000000000000000 action gact pass cookie 534c4345020000000000000000000000
tc filter replace dev eth3 egress protocol all pref 19968 handle 0x1 flower action gact goto chain 92274688 cookie 534c43450100000027b7b323f27c350b
tc filter replace dev eth3 ingress protocol all pref 19968 handle 0x1 flower action gact goto chain 92274688 cookie 534c434501000000bea096e5d6df9324
sleep 0.01
tc filter del dev eth3 egress chain 83886080
tc filter del dev eth3 egress chain 83886081
tc filter del dev eth3 egress chain 83886082
tc filter del dev eth3 ingress chain 83886080
tc filter del dev eth3 ingress chain 83886081
tc filter del dev eth3 ingress chain 83886082
tc filter del dev eth3 ingress chain 88885426
tc filter del dev eth3 ingress chain 92039610
