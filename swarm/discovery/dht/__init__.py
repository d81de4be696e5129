"""The distributed hash table: who is in this swarm, and what is its newest manifest? For a node with little but a contact.

`kademlia` gives table and crawl, `fence` and `lookup` keep both within bounds; `messages`, `finding` and `plan` are plain
decisions. Import nothing but those three from where a node may live without the table: the others load `kademlia`.
"""
