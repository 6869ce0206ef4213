"""The store in this process: objects, trees and the database in one directory."""
