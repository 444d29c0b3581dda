"""The migrations, oldest first by name. One that was released is never changed again."""
