"""The store of dots: objects and database behind one interface, in this process or in a helper container."""
