"""Training in the studio: a separate process, its supervisor, and their communication.

Server and training process share only the database: a run's row holds its requested state, its
points hold the results. Either process may die at any moment; its successor continues from the
database.
"""
