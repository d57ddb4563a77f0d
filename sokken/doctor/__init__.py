"""`sokken doctor`: walks the way of a tunnel step by step, and says in words what is wrong and what to change."""
