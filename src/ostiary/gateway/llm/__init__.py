"""Models by name, and what stands between them and LangChain."""
