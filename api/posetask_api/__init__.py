"""The REST API's package. Its floor is set and checked; the routes are the roadmap's part 5."""
