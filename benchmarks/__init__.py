"""Programs that measure. They print their figures with the command that repeats them. The installed package lacks them."""
