"""How is the service put together, started, reloaded and stopped?"""
