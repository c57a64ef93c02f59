"""nftables: reads and changes our table with nft(8), notices changes by others, and receives packets that it logs."""
