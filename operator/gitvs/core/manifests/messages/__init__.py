"""What a person reads about a document that does not fit its schema.

`schema_messages` says what is wrong, `foreign_words` what words of other programs are called here
(`health_words` those about health checks), and `remedies` what to write instead of a value of the
wrong shape.
"""
