"""Linux traffic control: what a policed interface of a secondary network must hold, and the plan that gets it there."""
