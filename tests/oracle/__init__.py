"""A second implementation of R4 search, by plain scan of the documents, to hold the first against.

Slow and simple on purpose. It takes the definitions of the parameters and the FHIRPath engine from the product and nothing else: no search
keys, no search grammar, no dates, units or folding of the product.
"""
