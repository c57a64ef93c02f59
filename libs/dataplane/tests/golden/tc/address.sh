tc filter add dev eth3 ingress protocol ip pref 256 chain 83886081 handle 0x2 flower dst_ip 10.1.0.4 action gact goto chain 92039610 cookie 534c4345040000000000000000000000
