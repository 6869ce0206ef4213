"""The volume driver `dm`: Docker's volume plugin API over a store. It needs the standard library, filelock and pluggy only."""
