"""Pure: what is wanted and what is seen -> what to change. Looks at what is, never at what happened."""
