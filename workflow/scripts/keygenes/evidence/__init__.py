"""Tables of gene x score: what the model attends to, beside what the biology says."""
