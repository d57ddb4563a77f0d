"""What people and machines ask a running program about itself, over HTTP."""
