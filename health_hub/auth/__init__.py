"""The authorization server: who signs in, which application acts for them, and what its tokens say (OAuth 2, OpenID Connect, SMART)."""
