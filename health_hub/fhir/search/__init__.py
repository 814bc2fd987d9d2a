"""The search grammar: from a query string to a Query (R4 search.html), and back to a self link."""
