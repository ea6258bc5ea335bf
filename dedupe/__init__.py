"""Pictures that are there more than once: what two have in common, who stays, who goes."""
