"""POST [base]: batch and transaction (R4 http.html#transaction)."""
