"""Linux traffic control: the filters for a policed interface of a secondary network, and the plan to install them."""
