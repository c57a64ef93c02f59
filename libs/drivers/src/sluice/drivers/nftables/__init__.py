"""nftables: our table read and changed by nft(8), what others change of it, and copies of packets that it logs."""
