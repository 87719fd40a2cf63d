"""HTTP for the API: requests parsed, parameters, levels, problems, streams."""
