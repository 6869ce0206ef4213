"""The `dm` volume driver: Docker's volume plugin API over a store. Needs the standard library, filelock and pluggy only."""
