"""The cells that attention is looked at in."""

TEST = "test"  # held out from training: what every figure and score is about
VEHICLE = "vehicle_train"  # untreated training cells: the null of later corrections
