"""What an operator is shown: the answers that `fruit status`, `fruit doctor` and their like read from the API."""
