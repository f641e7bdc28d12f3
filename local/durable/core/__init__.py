"""The engine proper: history, inbox, timers, episodes, activities, entities. It knows no function protocol."""
