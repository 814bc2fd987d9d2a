"""Who may see and do what: roles, relationships, Consents and scopes become the Filter and the Writer of a request, and leave a trail."""
