"""The agents' secrets: one API, and four places where they may lie.

`endpoints` is the group; `sealed`, `encrypted_file`, `keychain` and `hashicorp` are the places.
"""
