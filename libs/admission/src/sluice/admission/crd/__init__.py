"""The kinds as the API server knows them: CustomResourceDefinitions, made of the same numbers as the rules."""
